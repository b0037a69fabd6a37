"""La implementación de referencia del cuaderno 10."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.notebooks import load

lesson = load("10_atencion_dura")


@settings(deadline=None)
@given(B=st.integers(1, 4), S=st.integers(1, 6), seed=st.integers(0, 1000))
def test_it_is_the_limit_of_the_softmax(B, S, seed):
    torch.manual_seed(seed)
    scores, values = torch.randn(B, S).double(), torch.randn(B, S, 3).double()
    limit = ((1e9 * scores).softmax(1)[..., None] * values).sum(1)
    torch.testing.assert_close(
        lesson.hard_attention(scores, values, torch.ones(B, S).bool()), limit
    )
