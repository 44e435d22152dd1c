"""The programs that compute, one package each; none knows another, or the HTTP dialects."""
