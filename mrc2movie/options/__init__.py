"""Every option, codec and preset, declared once."""
