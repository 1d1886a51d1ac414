//! The `wsgate` program; see the library of the same name.

/// Gives freed memory back in a way that thousands of tunnels, each of which was busy once, stay small
/// (docs/performance.md has what was measured).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    wsgate::cli::main()
}
