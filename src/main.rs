//! The `portcullis` command: arguments in, exit code out.

#[global_allocator]
static ALLOCATOR: portcullis::memory::Counting<mimalloc::MiMalloc> = portcullis::memory::Counting(mimalloc::MiMalloc);

fn main() -> std::process::ExitCode {
    portcullis::cli::run()
}
