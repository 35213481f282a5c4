//! What a measurement cost: processor time, memory, and whether somebody else was in the way.
