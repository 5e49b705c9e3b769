use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rdkafka_sys as sys;

/// Called by threads of librdkafka, which hold locks of librdkafka meanwhile: it must not call librdkafka or foreign code.
pub(crate) trait OnLog: Send + Sync + 'static {
    fn line(&self, level: i32, facility: &str, text: &str);
}

/// Sends the log of a client to this target.
///
/// # Safety
///
/// The configuration is valid, and the target lives longer than the client that is made of it.
pub(super) unsafe fn send_to<L: OnLog>(config: *mut sys::rd_kafka_conf_t, target: &Arc<L>) {
    let opaque = Arc::as_ptr(target).cast_mut().cast::<c_void>();
    // SAFETY: the configuration is valid, as the caller promises. Nothing else uses its opaque pointer.
    unsafe {
        sys::rd_kafka_conf_set_opaque(config, opaque);
        sys::rd_kafka_conf_set_log_cb(config, Some(line::<L>));
    }
}

unsafe extern "C" fn line<L: OnLog>(
    rk: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    if rk.is_null() || facility.is_null() || text.is_null() {
        return;
    }
    // SAFETY: the client lives during the call. Its opaque pointer is the target of `send_to`, which outlives it. The texts are
    // terminated and live during the call.
    let (target, facility, text) = unsafe {
        let target = sys::rd_kafka_opaque(rk).cast_const().cast::<L>();
        (target.as_ref(), CStr::from_ptr(facility), CStr::from_ptr(text))
    };
    let Some(target) = target else { return };
    // A panic must not unwind into C.
    let call = || target.line(level, &facility.to_string_lossy(), &text.to_string_lossy());
    drop(catch_unwind(AssertUnwindSafe(call)));
}
