"""Makes the plain asserts of tests/support show their values, as those of the tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")
