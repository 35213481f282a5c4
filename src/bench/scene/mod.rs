//! Two hosts with a wire and a tunnel between them, for one case.
