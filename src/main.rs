//! The `wsgate` program; see the library of the same name.

fn main() -> std::process::ExitCode {
    wsgate::cli::main()
}
