//! What the tests of several Tidings crates share.
