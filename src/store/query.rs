//! Reading for people: filtered lists, single things, timelines.
