//! The Tidings HTTP contract on hyper.
