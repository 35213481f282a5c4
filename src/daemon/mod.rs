//! Start and stop order, the worker loop, signals.
