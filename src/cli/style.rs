//! Colours, only where a person looks: on a terminal, and without `NO_COLOR`.

use std::io::IsTerminal;

/// Paints text, or leaves it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    on: bool,
}

impl Style {
    pub(super) fn stdout() -> Self {
        Self { on: std::io::stdout().is_terminal() && colours_wanted() }
    }

    pub(super) fn stderr() -> Self {
        Self { on: std::io::stderr().is_terminal() && colours_wanted() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// <https://no-color.org>
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
