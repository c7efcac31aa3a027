"""Working with a device through a worker that may be lost: sessions, and the schedulers on top of them."""
