//! Tells the linker on macOS that the interpreter's symbols come with the interpreter.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
