//! Policy as code: a YAML file that says what is to be, and the steps from what is.
//!
//! Pure: the file's text, the directory and the time go in, a plan comes out. It carries nothing
//! out and reads no secret; where the file names a variable, the caller looks it up.

mod yaml;

pub use yaml::Mark;
