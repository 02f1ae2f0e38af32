"""The kernels of Debian and Ubuntu, fetched from their mirrors by apt, and built against."""
