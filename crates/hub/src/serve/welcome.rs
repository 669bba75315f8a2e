//! What a newcomer sees first.

use std::fmt;

/// Where to look, and three commands to try.
#[derive(Debug)]
pub(crate) struct Welcome<'a> {
    /// The hub's URL.
    pub(crate) url: &'a str,
    /// What is kept, and where.
    pub(crate) keeps: &'a str,
    /// How this binary was called: it may well not be in the shell's path.
    pub(crate) binary: &'a str,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, keeps, binary } = self;
        let option = match *url {
            "http://127.0.0.1:3000" => String::new(),
            url => format!(" --url {url}"),
        };
        write!(
            f,
            "
  Tidings is at {url} (open it in a browser); {keeps}

  Try, in other terminals:
    curl -N '{url}/events?topic=hello'
    {binary} subscribe hello --from earliest{option}
    {binary} publish hello 'Hello, world'{option}

  Ctrl-C stops it in good order; twice, at once.
"
        )
    }
}
