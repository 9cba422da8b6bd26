//! Calls of the API, in process, over a real temporary database.
