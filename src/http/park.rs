//! Idle connections, watched by one thread.
