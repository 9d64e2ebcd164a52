"""From rules to the plan: what trains at each step."""
