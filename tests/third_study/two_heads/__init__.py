"""Two heads: one network names the disease on a chest X-ray and grades six lung zones. Made up, for the tests."""
