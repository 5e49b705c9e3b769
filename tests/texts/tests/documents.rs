//! Checks the links of the documents: on GitHub, where they lead to files, and in the guide of the root crate's docs, where
//! `src/guide/links.md` leads them to pages. `KAFKA_TOWER_BLESS=1` writes that file.
#![allow(clippy::unwrap_used)] // a test may fail

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{BrokenLink, Event, LinkType, Options, Parser, Tag, TagEnd};

const REPOSITORY: &str = "https://github.com/kafka-tower/kafka-tower/blob/main";
const IMAGES: &str = "https://raw.githubusercontent.com/kafka-tower/kafka-tower/main";
/// Files whose item has a page in the docs.
const ITEMS: [(&str, &str); 3] = [
    ("src/sink/stack.rs", "crate::stack"),
    ("transports/core/src/control.rs", "crate::Control"),
    ("transports/core/src/transport.rs", "crate::Transport"),
];
/// Ids that rustdoc's own parts of a page have: a heading of that name gets another id, and links to it miss.
const TAKEN: [&str; 9] =
    ["fields", "help", "implementations", "implementors", "layout", "main-content", "search", "settings", "variants"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What a document links to, and what can be linked to in it.
#[derive(Debug, Default)]
struct Document {
    /// Targets of links within the repository, and whether they are written in place.
    links: Vec<(String, bool)>,
    /// Ids of headings.
    ids: Vec<String>,
    /// Labels and targets of definitions.
    definitions: BTreeSet<(String, String)>,
    /// Labels without a definition.
    undefined: Vec<String>,
}

impl Document {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn parse(text: &str) -> Self {
        let undefined = RefCell::new(Vec::new());
        let callback = |link: BrokenLink<'_>| {
            if link.link_type == LinkType::Reference {
                undefined.borrow_mut().push(link.reference.to_string());
            }
            None
        };
        let parser = Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(callback));
        let is_local = |target: &str| !target.contains("://");
        let mut document = Self::default();
        for (label, definition) in parser.reference_definitions().iter() {
            document.definitions.insert((label.to_owned(), definition.dest.to_string()));
        }
        let mut heading = None;
        for event in parser {
            match event {
                Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. })
                    if is_local(&dest_url) =>
                {
                    document.links.push((dest_url.to_string(), link_type == LinkType::Inline));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => document.ids.extend(heading.take().map(|text| id(&text))),
                _ => {}
            }
        }
        document.undefined = undefined.into_inner();
        document
    }
}

/// The id of a heading, on GitHub as in rustdoc.
fn id(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    };
    heading.chars().filter_map(kept).collect()
}

fn documents(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "md")).collect();
    all.sort();
    all
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut dead = Vec::new();
    let folders = ["", "docs", "benches", "src/cli", "layers", "src/derive", "transports/core", "tests/testkit"];
    for path in folders.iter().flat_map(|folder| documents(folder)) {
        let document = Document::read(&path);
        dead.extend(document.undefined.iter().map(|label| format!("{}: [{label}] is not defined", path.display())));
        for (link, _) in &document.links {
            let (file, anchor) = link.split_once('#').map_or((&**link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_heading = |anchor: &str| Document::read(&target).ids.iter().any(|id| id == anchor);
            if !target.exists() || !anchor.is_none_or(has_heading) {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Where a link of `docs/` leads in the root crate's docs.
fn in_guide(target: &str) -> String {
    let (file, anchor) = target.split_once('#').map_or((target, ""), |(file, _)| (file, &target[file.len()..]));
    if let Some(page) = file.strip_suffix(".md").filter(|page| !page.contains('/')) {
        return format!("crate::guide::{}{anchor}", page.replace('-', "_"));
    }
    let path = file.strip_prefix("../").map_or_else(|| format!("docs/{file}"), str::to_owned);
    match ITEMS.iter().find(|(file, _)| *file == path) {
        Some((_, item)) => (*item).to_owned(),
        None if path.ends_with(".svg") => format!("{IMAGES}/{path}"),
        None => format!("{REPOSITORY}/{path}{anchor}"),
    }
}

#[test]
fn the_guide_has_every_document_with_its_links() {
    let guide = root().join("src/guide");
    let pages = fs::read_to_string(guide.join("mod.rs")).unwrap();
    let (mut links, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in documents("docs") {
        let (name, document) = (path.file_name().unwrap().to_str().unwrap(), Document::read(&path));
        let module = name.trim_end_matches(".md").replace('-', "_");
        let is_listed =
            pages.contains(&format!("guide!({module}: \"{name}\"")) && pages.contains(&format!("]({module}) |"));
        let ids: BTreeSet<_> = document.ids.iter().collect();
        let mut claim = |holds: bool, text: &str| {
            if !holds {
                wrong.push(format!("{name}: {text}"));
            }
        };
        claim(is_listed, "src/guide/mod.rs has no page of it, or does not list it");
        claim(ids.len() == document.ids.len(), "two headings have the same id");
        for id in ids {
            claim(!TAKEN.contains(&&**id), &format!("rustdoc uses the id {id} itself: choose another heading"));
        }
        for (target, is_inline) in document.links.iter().filter(|(target, _)| !target.starts_with('#')) {
            claim(!is_inline, &format!("write [..][{target}], and at the end [{target}]: {target}"));
            links.insert(target.clone());
        }
        for (label, target) in &document.definitions {
            claim(label == target, &format!("[{label}] must be defined as itself"));
            claim(links.contains(target), &format!("[{label}] is not used"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let expected: String = links.iter().map(|link| format!("[{link}]: {}\n", in_guide(link))).collect();
    let file = guide.join("links.md");
    if std::env::var_os("KAFKA_TOWER_BLESS").is_some() {
        fs::write(&file, &expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "src/guide/links.md: set KAFKA_TOWER_BLESS=1 to write it anew");
}
