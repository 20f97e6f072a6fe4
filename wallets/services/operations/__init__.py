"""Operations: what operators need: reviews, alarms, the pause, metrics, reconciliation."""
