# shellcheck shell=bash
# Sourced by the other scripts. Changes to the root of the repository, and finds and installs what a build needs.
# Never prompts: if something cannot be installed, it prints its name and the command that installs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
loud() { printf '\n' >&2; printf '!!! %s\n' "$@" >&2; printf '\n' >&2; }
die() { # MESSAGE [LINE...]
    printf '%s\n' "error: $1" "${@:2}" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# has_THING: whether it is installed. One function for each thing that `ensure` knows.
has_c() { have cc && have c++ && have make && echo '#include <stdlib.h>' | cc -E -x c - >/dev/null 2>&1; }
has_openssl() { # the library, and the command-line tool for the tests' certificates
    have openssl || return 1
    [[ -n ${OPENSSL_DIR:-} ]] || { have pkg-config && pkg-config --exists openssl; } ||
        { have brew && brew --prefix --installed openssl@3 >/dev/null 2>&1; }
}
has_java() { # 17 or newer, which Kafka 4 requires, with the compiler: comparisons with Java run its source files
    local java version
    for java in "${JAVA_HOME:-}/bin/java" java; do
        version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || continue
        if [[ -n $version ]] && ((version >= 17)) && [[ $("$java" --list-modules) == *jdk.compiler* ]]; then return 0; fi
    done
    return 1
}
has_maven() { have mvn; }
has_go() { # any Go; Debian puts one with its version in its package's name on no path
    local dir
    ! have go || return 0
    dir=$(printf '%s\n' /usr/lib/go-1.*/bin | sort -V | tail -n 1)
    [[ -x $dir/go ]] && export PATH=$dir:$PATH
}
has_docker() { have docker && docker info >/dev/null 2>&1; }
has_sasl() { have pkg-config && pkg-config --exists libsasl2; }
has_curl() { echo '#include <curl/curl.h>' | cc -E -x c - >/dev/null 2>&1; }
has_perl() { have perl && perl -MFindBin -MIPC::Cmd -e 1 >/dev/null 2>&1; }
has_cmake() { have cmake; }
has_valgrind() { have valgrind; }
has_jq() { have jq; }

# Prints the packages that provide a thing, for a package manager.
packages() { # MANAGER THING
    case $1:$2 in
    apt:c) echo gcc g++ make libc6-dev ;;
    apt:openssl) echo libssl-dev openssl pkg-config ;;
    apt:java) # not every release has every version, and the default may be too old
        local version
        for version in 21 17; do
            if [[ -n $(apt-cache search --names-only "^openjdk-$version-jdk-headless\$") ]]; then
                echo "openjdk-$version-jdk-headless"
                return
            fi
        done
        echo default-jdk-headless
        ;;
    apt:go) # the newest available; Go 1.21 and later fetch a newer version themselves if needed
        local newest
        newest=$(apt-cache search --names-only '^golang-1\.[0-9]+-go$' | sed 's/ .*//' | sort -V | tail -n 1)
        echo "${newest:-golang-go}"
        ;;
    apt:sasl) echo libsasl2-dev pkg-config ;;
    apt:curl) echo libcurl4-openssl-dev ;;
    dnf:c) echo gcc gcc-c++ make ;;
    dnf:openssl) echo openssl-devel openssl pkgconf-pkg-config ;;
    dnf:java) echo java-21-openjdk-devel ;;
    dnf:go) echo golang ;;
    dnf:sasl) echo cyrus-sasl-devel pkgconf-pkg-config ;;
    dnf:curl) echo libcurl-devel ;;
    brew:openssl) echo openssl@3 pkg-config ;;
    brew:java) echo openjdk@21 ;;
    *) echo "$2" ;;
    esac
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

apt_install() {
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -qq -o DPkg::Lock::Timeout=120)
    if [[ -z ${apt_updated:-} ]]; then
        "${apt[@]}" update </dev/null >&2 || say "apt-get update failed; continuing with the old package lists"
        apt_updated=1
    fi
    local thing names=""
    for thing; do names+=" $(packages apt "$thing")"; done
    say "installing$names"
    # shellcheck disable=SC2086 # word splitting is intended
    "${apt[@]}" install -y --no-install-recommends $names </dev/null >&2
}

# Prints the command that a person would type.
install_line() {
    local manager=apt thing names=""
    if [[ $(uname) == Darwin ]]; then manager=brew; elif have dnf; then manager=dnf; fi
    for thing; do
        if [[ $manager:$thing == brew:c ]]; then
            say "    xcode-select --install"
        else
            names+=" $(packages "$manager" "$thing")"
        fi
    done
    [[ -n $names ]] || return 0
    case $manager in
    apt) say "    sudo apt-get update && sudo apt-get install -y$names" ;;
    dnf) say "    sudo dnf install -y$names" ;;
    brew) say "    brew install$names" ;;
    esac
    have apt-get || [[ $manager != apt ]] || say "    (the names are Debian's; yours may differ)"
}

# ensure THING...: installs what is missing, or prints the command that would and returns 1.
ensure() {
    local thing missing=()
    for thing; do "has_$thing" || missing+=("$thing"); done
    ((${#missing[@]})) || return 0
    if have apt-get && { ((EUID == 0)) || sudo -n true 2>/dev/null; }; then
        apt_install "${missing[@]}" || say "apt-get could not install everything"
    fi
    local left=()
    for thing in "${missing[@]}"; do "has_$thing" || left+=("$thing"); done
    ((${#left[@]})) || return 0
    say "missing: ${left[*]}. This installs it:"
    install_line "${left[@]}"
    return 1
}

# Ensures a Go that can build the tests' Collector. Go 1.21 and newer fetch a newer version by themselves; with an older
# one (Debian 12 has 1.19) this downloads the same module.
go_version=1.24.11
go_dir=$PWD/target/go-$go_version
builds_collector() { (cd tests/collector/assets/collector && go list -m) >/dev/null 2>&1; }
download_go() {
    local module dir fresh=$go_dir.new
    module=golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)
    say "downloading Go $go_version as a Go module"
    # Go checks the module against its checksum database.
    dir=$(cd / && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p') || return 1
    [[ -d $dir ]] || return 1
    rm -rf "$fresh" "$go_dir"
    cp -r "$dir" "$fresh" # the module's files are read-only and not executable
    chmod -R u+w "$fresh"
    chmod +x "$fresh"/bin/* "$fresh"/pkg/tool/*/*
    mv "$fresh" "$go_dir"
}
ensure_go() {
    ensure go || return 1
    ! builds_collector || return 0
    [[ -x $go_dir/bin/go ]] || download_go || return 1
    export PATH=$go_dir/bin:$PATH
    builds_collector
}

need_rust() {
    local wanted rustc
    wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"/\1/p' Cargo.toml)
    have cargo || export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    rustc=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p') || true
    if ! have cargo || [[ -z $rustc ]]; then
        die "no Rust toolchain. This installs it (or see https://rustup.rs):" \
            "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default"
    fi
    ((rustc >= wanted)) || die "Rust 1.$wanted or newer is needed, this is 1.$rustc. This updates it:" "    rustup update stable"
}

need() { ensure "$@" || die "cannot continue without it"; }
