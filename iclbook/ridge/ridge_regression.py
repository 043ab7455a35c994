"""What the trained model is: ridge regression over basis functions (yang2024, Theorem 2)."""

import torch
from torch import Tensor

from iclbook.errors import require_nonnegative, require_shape


def ridge_coefficients(Z: Tensor, y: Tensor, penalty: float) -> Tensor:
    """argmin ||y - Z^T lambda||^2 + penalty ||lambda||^2 = (Z Z^T + penalty I)^{-1} Z y, (count, m).

    Z: (m, N); y: (count, N). Theorem 2's limit has penalty m tau (yang2024 eq. 20), Lemma 4's template N tau
    (eq. 25). With penalty 0 the least-norm solution is returned.
    """
    require_nonnegative(penalty=penalty)
    require_shape("Z", Z, (None, None))
    require_shape("y", y, (None, Z.shape[1]))
    if penalty == 0:
        return y @ torch.linalg.pinv(Z)  # (count, m)
    gram = Z @ Z.T + penalty * torch.eye(Z.shape[0], dtype=Z.dtype)  # (m, m)
    return torch.linalg.solve(gram, Z @ y.T).T  # (count, m)


def ridge_predictions(Z: Tensor, features: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Ridge predictions lambda^T z for tokens with representations `features`: (m, K), as (count, K)."""
    return ridge_coefficients(Z, y, penalty) @ features  # (count, K)
