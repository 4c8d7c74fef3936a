//! The policy, compiled once and instantiated afresh for every request.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime_provider::wasmtime::{self, Config, Engine, Module};
use wasmtime_provider::{ResourceLimits, WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

/// Compiled modules for the life of the process: a test binary builds many hosts of one policy, and compiling takes
/// far longer than everything else that it does.
static COMPILED: LazyLock<Mutex<HashMap<Key, CompiledPolicy>>> = LazyLock::new(Mutex::default);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    sha256: [u8; 32],
    epoch_tick: Duration,
    memory_max_bytes: Option<usize>,
}

/// A compiled module, linked with WASI and waPC's imports.
#[derive(Clone)]
pub(crate) struct CompiledPolicy(WasmtimeEngineProviderPre);

/// Why bytes are not a policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("not a WebAssembly module")]
    Module(#[source] wasmtime::Error),
    #[error("the module needs imports that a waPC host does not have")]
    Imports(#[source] wasmtime_provider::errors::Error),
}

impl CompiledPolicy {
    /// Compiles `wasm` (binary or text), or finds it compiled already, and lets its epochs tick. A guest that asks for
    /// more than `memory_max_bytes` is told that there is no more, as WebAssembly has it; Rust's then traps.
    pub(crate) fn compile(
        wasm: &[u8],
        epoch_tick: Duration,
        memory_max_bytes: Option<usize>,
    ) -> Result<Self, CompileError> {
        let key = Key { sha256: Sha256::digest(wasm).into(), epoch_tick, memory_max_bytes };
        // Held while compiling: a second caller waits for the first one's module rather than compile it again.
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = compiled.get(&key) {
            return Ok(policy.clone());
        }
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(CompileError::Module)?;
        let module = Module::new(&engine, wasm).map_err(CompileError::Module)?;
        let pre = WasmtimeEngineProviderBuilder::new()
            .engine(engine.clone())
            .module(module)
            .enable_resource_limits(ResourceLimits { max_memory_size: memory_max_bytes, max_table_elements: None })
            .build_pre()
            .map_err(CompileError::Imports)?;
        tick_forever(engine, epoch_tick);
        let policy = Self(pre);
        compiled.insert(key, policy.clone());
        Ok(policy)
    }

    pub(crate) fn pre(&self) -> &WasmtimeEngineProviderPre {
        &self.0
    }
}

/// Guest code compares the engine's epoch with its deadline wherever a function or a loop begins.
fn tick_forever(engine: Engine, tick: Duration) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(tick);
            engine.increment_epoch();
        }
    });
}
