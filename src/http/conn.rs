//! One connection: reads heads, frames bodies, writes responses.
