"""What trains and what does not: rules, strategies, plans, partition and optimizer."""

from ftjax.freezing.partition import combine, partition
from ftjax.freezing.plan.plan import FreezeSettings, Plan, make_plan
from ftjax.freezing.registry import strategy

__all__ = ['FreezeSettings', 'Plan', 'combine', 'make_plan', 'partition', 'strategy']
