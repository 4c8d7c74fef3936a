//! Tiny waPC guests in WebAssembly's text format, for what the real policy must not do.

/// What all guests share: waPC's imports, some memory, and an answer that accepts a request as well as settings.
const PRELUDE: &str = r#"
  (import "wapc" "__guest_request" (func $guest_request (param i32 i32)))
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (import "wapc" "__guest_error" (func $guest_error (param i32 i32)))
  (import "wapc" "__console_log" (func $console_log (param i32 i32)))
  (import "wapc" "__host_call" (func $host_call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_response" (func $host_response (param i32)))
  (import "wapc" "__host_response_len" (func $host_response_len (result i32)))
  (import "wapc" "__host_error" (func $host_error (param i32)))
  (import "wapc" "__host_error_len" (func $host_error_len (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "kubewarden")
  (data (i32.const 16) "oci")
  (data (i32.const 32) "tracing")
  (data (i32.const 48) "log")
  (data (i32.const 64) "hello from the guest")
  (data (i32.const 128) "{\"valid\":true,\"accepted\":true,\"warnings\":[\"mind the gap\"]}")
  (data (i32.const 208) "{\"accepted\":false,\"message\":\"no\",\"code\":418}")
  (func $accept (result i32) (call $guest_response (i32.const 128) (i32.const 58)) (i32.const 1))
"#;

fn module(definitions: &str) -> Vec<u8> {
    format!("(module {PRELUDE} {definitions})").into_bytes()
}

fn guest(call: &str) -> Vec<u8> {
    module(&format!(r#"(func (export "__guest_call") (param $op i32) (param $len i32) (result i32) {call})"#))
}

/// Never answers.
pub(crate) fn endless() -> Vec<u8> {
    guest("(loop $again (br $again)) (unreachable)")
}

/// Traps, as a panicking policy does.
pub(crate) fn trapping() -> Vec<u8> {
    guest("(unreachable)")
}

/// Grows its memory of 4 pages by so many more (of 64 KiB each) and says yes, or traps where it gets none.
pub(crate) fn growing_by(pages: u32) -> Vec<u8> {
    guest(&format!(
        "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then (unreachable))) (call $accept)"
    ))
}

/// Says no.
pub(crate) fn rejecting() -> Vec<u8> {
    guest("(call $guest_response (i32.const 208) (i32.const 44)) (i32.const 1)")
}

/// Writes a line to the console and says yes.
pub(crate) fn talking() -> Vec<u8> {
    guest("(call $console_log (i32.const 64) (i32.const 20)) (call $accept)")
}

/// Cannot even be set up in time.
pub(crate) fn endless_start() -> Vec<u8> {
    module(
        r#"(func (export "__guest_call") (param i32 i32) (result i32) (call $accept))
           (func (export "wapc_init") (loop $again (br $again)))"#,
    )
}

/// Gives its payload to the `oci` capability `operation`, logs the answer and says yes, or fails with the host's error.
pub(crate) fn asking(operation: &str) -> Vec<u8> {
    let length = operation.len();
    module(&format!(
        r#"(data (i32.const 256) "{operation}")
           (func (export "__guest_call") (param $op i32) (param $len i32) (result i32)
             (call $guest_request (i32.const 320) (i32.const 4096))
             (call $host_call
               (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 3)
               (i32.const 256) (i32.const {length}) (i32.const 4096) (local.get $len))
             (if (result i32)
               (then
                 (call $host_response (i32.const 65536))
                 (drop (call $host_call
                   (i32.const 0) (i32.const 10) (i32.const 32) (i32.const 7)
                   (i32.const 48) (i32.const 3) (i32.const 65536) (call $host_response_len)))
                 (call $accept))
               (else
                 (call $host_error (i32.const 65536))
                 (call $guest_error (i32.const 65536) (call $host_error_len))
                 (i32.const 0))))"#
    ))
}
