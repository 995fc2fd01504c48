//! The C functions of the libtorch that the process has loaded.
//!
//! Linking against libtorch would tie the library to one build of it, and would need torch to
//! build and to install. Instead each function is looked up by name when the library is loaded:
//! first among the symbols that everybody can see (a C++ program that links libtorch), then in
//! the loaded object called `libtorch_cpu` (Python loads it privately, so that the first search
//! finds nothing). All of them belong to PyTorch's stable C interface, whose promise is that a
//! function keeps its name, its arguments and its meaning; the youngest one used came with torch
//! 2.10, which is why older ones are refused.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// An `at::Tensor*` whose owner must delete it.
pub type Handle = *mut c_void;
/// A `torch::Library*`.
pub type LibraryHandle = *mut c_void;
/// One argument or result of a boxed kernel: a tensor's handle, an integer or a boolean.
pub type StableValue = u64;
/// What every function that can fail returns: 0 for success.
pub type Status = i32;
/// A boxed kernel. It may leave by a C++ exception.
pub type Kernel = unsafe extern "C-unwind" fn(*mut StableValue, u64, u64);
/// A piece of a parallel loop.
pub type Piece = unsafe extern "C" fn(i64, i64, *mut c_void);

/// Declares the table and the lookup together, so that a name is written once.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $symbol:literal;)*) => {
        /// The functions, found once.
        pub struct Functions {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Functions {
            fn find(library: &Loaded) -> Result<Self, String> {
                Ok(Self {
                    $($name: {
                        let symbol = library.symbol(concat!($symbol, "\0"))?;
                        // SAFETY: the symbol is the C function of this name, whose signature
                        // PyTorch's stable interface fixes to be the one in the table.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(symbol) }
                    },)*
                })
            }
        }
    };
}

functions! {
    /// Opens a namespace for more definitions.
    library_fragment: unsafe extern "C" fn(*const c_char, *const c_char, u32, *mut LibraryHandle) -> Status
        = "aoti_torch_library_init_fragment";
    /// Opens a namespace for kernels of one dispatch key.
    library_impl: unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, u32, *mut LibraryHandle) -> Status
        = "aoti_torch_library_init_impl";
    /// Defines an operator.
    define: unsafe extern "C" fn(LibraryHandle, *const c_char) -> Status
        = "aoti_torch_library_def";
    /// Registers a kernel.
    implement: unsafe extern "C" fn(LibraryHandle, *const c_char, Kernel) -> Status
        = "aoti_torch_library_impl";
    /// Calls an operator; its results replace the arguments.
    call: unsafe extern "C" fn(*const c_char, *const c_char, *mut StableValue) -> Status
        = "aoti_torch_call_dispatcher";
    /// Throws the exception that Python sees as `RuntimeError`, if the condition is false.
    check: unsafe extern "C-unwind" fn(bool, *const c_char, *const c_char, u32, *const c_char)
        = "aoti_torch_check";
    /// Deletes a handle.
    delete: unsafe extern "C" fn(Handle) -> Status
        = "aoti_torch_delete_tensor_object";
    /// Another handle of the same tensor.
    new_handle: unsafe extern "C" fn(Handle, *mut Handle) -> Status
        = "aoti_torch_new_tensor_handle";
    /// A view of some rows: dimension, start, length.
    narrow: unsafe extern "C" fn(Handle, i64, i64, i64, *mut Handle) -> Status
        = "aoti_torch_cpu_narrow";
    /// Fills with zeros.
    zero: unsafe extern "C" fn(Handle) -> Status
        = "aoti_torch_zero_";
    /// Copies the second into the first.
    copy: unsafe extern "C" fn(Handle, Handle, i32) -> Status
        = "aoti_torch_copy_";
    /// Address of the first element.
    data: unsafe extern "C" fn(Handle, *mut *mut c_void) -> Status
        = "aoti_torch_get_data_ptr";
    /// Number of dimensions.
    dim: unsafe extern "C" fn(Handle, *mut i64) -> Status
        = "aoti_torch_get_dim";
    /// Sizes, lent.
    sizes: unsafe extern "C" fn(Handle, *mut *mut i64) -> Status
        = "aoti_torch_get_sizes";
    /// Strides in elements, lent.
    strides: unsafe extern "C" fn(Handle, *mut *mut i64) -> Status
        = "aoti_torch_get_strides";
    /// Data type, as a number.
    dtype: unsafe extern "C" fn(Handle, *mut i32) -> Status
        = "aoti_torch_get_dtype";
    /// Device type, as a number.
    device_type: unsafe extern "C" fn(Handle, *mut i32) -> Status
        = "aoti_torch_get_device_type";
    /// Device index.
    device_index: unsafe extern "C" fn(Handle, *mut i32) -> Status
        = "aoti_torch_get_device_index";
    /// Layout, as a number.
    layout: unsafe extern "C" fn(Handle, *mut i32) -> Status
        = "aoti_torch_get_layout";
    /// Bytes of an element.
    element_size: unsafe extern "C" fn(i32) -> usize
        = "aoti_torch_dtype_element_size";
    /// The number of the strided layout.
    layout_strided: unsafe extern "C" fn() -> i32
        = "aoti_torch_layout_strided";
    /// Whether autograd records.
    grad_enabled: unsafe extern "C" fn() -> bool
        = "aoti_torch_grad_mode_is_enabled";
    /// Runs a loop on torch's threads.
    parallel_for: unsafe extern "C" fn(i64, i64, i64, Piece, *mut c_void) -> Status
        = "torch_parallel_for";
    /// The numbers of data types that errors name.
    dtype_float32: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float32";
    /// float64
    dtype_float64: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float64";
    /// float16
    dtype_float16: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float16";
    /// bfloat16
    dtype_bfloat16: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_bfloat16";
    /// int8
    dtype_int8: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_int8";
    /// uint8
    dtype_uint8: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_uint8";
    /// int16
    dtype_int16: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_int16";
    /// int32
    dtype_int32: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_int32";
    /// int64
    dtype_int64: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_int64";
    /// bool
    dtype_bool: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_bool";
    /// float8_e5m2
    dtype_float8_e5m2: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float8_e5m2";
    /// float8_e4m3fn
    dtype_float8_e4m3fn: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float8_e4m3fn";
    /// float8_e5m2fnuz
    dtype_float8_e5m2fnuz: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float8_e5m2fnuz";
    /// float8_e4m3fnuz
    dtype_float8_e4m3fnuz: unsafe extern "C" fn() -> i32 = "aoti_torch_dtype_float8_e4m3fnuz";
    /// cpu
    device_cpu: unsafe extern "C" fn() -> i32 = "aoti_torch_device_type_cpu";
    /// cuda
    device_cuda: unsafe extern "C" fn() -> i32 = "aoti_torch_device_type_cuda";
    /// meta
    device_meta: unsafe extern "C" fn() -> i32 = "aoti_torch_device_type_meta";
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// The functions of the loaded libtorch; the reason, if there is none or it is too old.
pub fn functions() -> Result<&'static Functions, String> {
    if let Some(found) = FUNCTIONS.get() {
        return Ok(found);
    }
    let found = Functions::find(&Loaded::find()?)?;
    Ok(FUNCTIONS.get_or_init(|| found))
}

/// A loaded object to look symbols up in.
struct Loaded(*mut c_void);

impl Loaded {
    fn find() -> Result<Self, String> {
        let everybody = Self(libc::RTLD_DEFAULT);
        if everybody
            .address("aoti_torch_library_init_fragment\0")
            .is_some()
        {
            return Ok(everybody);
        }
        let path = objects::path_of("libtorch_cpu.").ok_or(
            "no libtorch is loaded in this process; import torch, or load libtorch, before \
             loading the operators of Crosslatch",
        )?;
        // SAFETY: the path is a terminated string; NOLOAD only finds what is loaded already, so
        // no initialiser runs.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        match handle.is_null() {
            true => Err(format!(
                "{} is loaded but cannot be opened",
                path.to_string_lossy()
            )),
            // The handle is never closed: kernels go on calling through it.
            false => Ok(Self(handle)),
        }
    }

    fn address(&self, name: &'static str) -> Option<*mut c_void> {
        let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
        // SAFETY: the handle is `RTLD_DEFAULT` or an open object; the name is terminated.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!symbol.is_null()).then_some(symbol)
    }

    fn symbol(&self, name: &'static str) -> Result<*mut c_void, String> {
        self.address(name).ok_or_else(|| {
            format!(
                "the loaded libtorch lacks {}; the operators of Crosslatch need torch 2.10 or \
                 later",
                name.trim_end_matches('\0')
            )
        })
    }
}

/// The objects that the dynamic linker has loaded.
#[cfg(not(target_vendor = "apple"))]
mod objects {
    use super::*;

    struct Search<'a> {
        name: &'a str,
        found: Option<CString>,
    }

    /// The path of the first loaded object whose file name starts so.
    pub fn path_of(name: &str) -> Option<CString> {
        let mut search = Search { name, found: None };
        // SAFETY: `visit` gets the pointer passed here, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
        search.found
    }

    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `data` is the `Search` that `path_of` passes, lent to nobody else meanwhile.
        let search = unsafe { &mut *data.cast::<Search<'_>>() };
        // SAFETY: the linker passes a valid description.
        let path = unsafe { (*info).dlpi_name };
        if path.is_null() {
            return 0;
        }
        // SAFETY: the linker's names are terminated and live as long as the object is loaded.
        let path = unsafe { CStr::from_ptr(path) };
        let bytes = path.to_bytes();
        let file = bytes.rsplit(|&b| b == b'/').next().unwrap_or(bytes);
        if file.starts_with(search.name.as_bytes()) {
            search.found = Some(path.to_owned());
        }
        c_int::from(search.found.is_some())
    }
}

/// The objects that the dynamic linker has loaded.
#[cfg(target_vendor = "apple")]
mod objects {
    use super::*;

    unsafe extern "C" {
        safe fn _dyld_image_count() -> u32;
        safe fn _dyld_get_image_name(index: u32) -> *const c_char;
    }

    /// The path of the first loaded object whose file name starts so.
    pub fn path_of(name: &str) -> Option<CString> {
        (0.._dyld_image_count()).find_map(|i| {
            let path = _dyld_get_image_name(i);
            if path.is_null() {
                return None;
            }
            // SAFETY: the linker's names are terminated.
            let path = unsafe { CStr::from_ptr(path) };
            let bytes = path.to_bytes();
            let file = bytes.rsplit(|&b| b == b'/').next().unwrap_or(bytes);
            file.starts_with(name.as_bytes()).then(|| path.to_owned())
        })
    }
}
