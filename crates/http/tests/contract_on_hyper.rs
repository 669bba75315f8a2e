//! The same contract where hyper serves the streams of events too: the tests of `contract`, with
//! [`Config::shards`](tidings_http::Config::shards) at 0. The kit sees it by this program's name.

#[path = "contract/main.rs"]
mod contract;
