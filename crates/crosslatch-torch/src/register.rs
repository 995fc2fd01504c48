//! The definitions of the operators, which are made when the library is loaded.
//!
//! An operator has one definition in a process, and another package may have made it already. Who
//! loads the library from Python therefore asks first and says with `CROSSLATCH_TORCH_DEFINE` which
//! operators to define (`alias`, `update`, `alias,update` or nothing); kernels are registered in
//! any case. Without that variable, as from C++, both are defined.

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use crate::kernels;
use crate::symbols::{Functions, Kernel, LibraryHandle, functions};
use crate::tensor::succeeded;

const NAMESPACE: &CStr = c"executorch";
const FILE: &CStr = c"crosslatch-torch";

const DEFINITIONS: [(&str, &CStr); 2] = [
    ("alias", c"alias(Tensor x, Tensor y) -> (Tensor, Tensor)"),
    (
        "update",
        c"update_cross_attn_cache(Tensor value, Tensor cache) -> Tensor",
    ),
];

/// Why the operators could not be registered.
static FAILURE: OnceLock<Option<CString>> = OnceLock::new();

#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    FAILURE.get_or_init(|| {
        let define = std::env::var("CROSSLATCH_TORCH_DEFINE");
        let define = define.as_deref().unwrap_or("alias,update");
        let failure = functions().and_then(|f| register(f, define)).err()?;
        // A zero inside of a text would be a libtorch's path with a zero, which there is not.
        CString::new(failure).ok()
    });
}

/// Why the operators were not registered, or null if they were. The text lives as long as the
/// library.
#[unsafe(no_mangle)]
pub extern "C" fn crosslatch_torch_failure() -> *const c_char {
    match FAILURE.get() {
        Some(Some(failure)) => failure.as_ptr(),
        _ => std::ptr::null(),
    }
}

fn register(functions: &Functions, define: &str) -> Result<(), String> {
    let mut library: LibraryHandle = std::ptr::null_mut();
    // SAFETY: terminated texts that live forever, and a place for the result.
    let status = unsafe {
        (functions.library_fragment)(NAMESPACE.as_ptr(), FILE.as_ptr(), 0, &raw mut library)
    };
    ok(status, "open the namespace")?;
    for (name, schema) in DEFINITIONS {
        if define.split(',').any(|wanted| wanted == name) {
            // SAFETY: the library was opened above.
            let status = unsafe { (functions.define)(library, schema.as_ptr()) };
            ok(
                status,
                "define an operator (another package has defined it?)",
            )?;
        }
    }
    let alias: &[(&CStr, Kernel)] = &[(c"alias", kernels::alias)];
    let elsewhere: &[(&CStr, Kernel)] = &[(c"update_cross_attn_cache", kernels::update_elsewhere)];
    let cpu: &[(&CStr, Kernel)] = &[(c"update_cross_attn_cache", kernels::update_on_cpu)];
    implement(
        functions,
        c"CompositeExplicitAutograd",
        &[alias, elsewhere].concat(),
    )?;
    implement(functions, c"CPU", &[alias, cpu].concat())?;
    // A tensor may be lazy: the negation or the conjugate of what its memory holds, or zeros
    // without memory. PyTorch's own rule hands a computed copy to an operator whose schema declares
    // no write, which the write then goes to.
    for lazy in [c"Negative", c"Conjugate", c"ZeroTensor"] {
        implement(functions, lazy, &[alias, elsewhere].concat())?;
    }
    Ok(())
}

fn implement(functions: &Functions, key: &CStr, kernels: &[(&CStr, Kernel)]) -> Result<(), String> {
    let mut library: LibraryHandle = std::ptr::null_mut();
    // SAFETY: as for the definitions. The library is never deleted, as the kernels stay for good.
    let status = unsafe {
        (functions.library_impl)(
            NAMESPACE.as_ptr(),
            key.as_ptr(),
            FILE.as_ptr(),
            0,
            &raw mut library,
        )
    };
    ok(status, "open the namespace")?;
    for (name, kernel) in kernels {
        // SAFETY: the library was opened above; the kernel has the operator's arguments.
        let status = unsafe { (functions.implement)(library, name.as_ptr(), *kernel) };
        ok(status, "register a kernel")?;
    }
    Ok(())
}

fn ok(status: i32, what: &str) -> Result<(), String> {
    succeeded(status, "").map_err(|_| format!("PyTorch would not {what}; see standard error"))
}
