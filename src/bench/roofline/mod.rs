//! What this machine could do at best: its terms measured one by one, and a model of them.
