//! The `wsgate` program; see the library of the same name.

/// Keeps thousands of tunnels small even if each of them was busy once (docs/performance.md has the measurements).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    wsgate::cli::main()
}
