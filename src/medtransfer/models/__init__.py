"""Networks: timm trunks with self-attention layers at named sites, one linear head, and their weights."""
