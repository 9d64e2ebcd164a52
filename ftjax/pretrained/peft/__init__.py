"""Adapters that PEFT wrote, merged into the network that they were trained on."""
