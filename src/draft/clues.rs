//! What is known of a service without starting it.

/// A value, and what speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess<T> {
    /// The value.
    pub value: T,
    /// Where it comes from, in words: `EXPOSE in Dockerfile:7`.
    pub why: String,
}

impl<T> Guess<T> {
    /// A guess and its reason.
    pub fn new(value: T, why: impl Into<String>) -> Self {
        Self { value, why: why.into() }
    }
}

/// What is known; each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clues {
    /// The port that it listens on.
    pub port: Option<Guess<u16>>,
    /// The environment variable that tells it its port, where it has no port of its own.
    pub port_variable: Option<Guess<String>>,
    /// The path that tells that it is ready.
    pub ready: Option<Guess<String>>,
    /// Paths that answer a plain GET, the likeliest first; a few.
    pub gets: Vec<Guess<String>>,
    /// Other routes, as `POST /orders`; a few.
    pub others: Vec<String>,
    /// Whether routes are put below others somewhere, so that those found may lack their beginning.
    pub nested: bool,
    /// What the reader should know of the search itself.
    pub notes: Vec<String>,
}

impl Clues {
    /// Takes from `other` what is missing here.
    pub fn fill(&mut self, other: Self) {
        if self.port.is_none() {
            self.port_variable = self.port_variable.take().or(other.port_variable);
            self.port = other.port;
        }
        self.ready = self.ready.take().or(other.ready);
        self.nested |= other.nested;
        self.notes.extend(other.notes);
        if self.gets.is_empty() {
            self.gets = other.gets;
        }
        if self.others.is_empty() {
            self.others = other.others;
        }
    }
}
