// A crate without std that uses this one: `cargo xtask check` compiles it. The standard library has
// a panic handler of its own, and rustc refuses two: so this compiles only if neither the wire nor
// what it depends on brings std along.
#![no_std]

use core::panic::PanicInfo;

pub use tidings_wire::{Decoder, Event};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
