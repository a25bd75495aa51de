"""AWS on this machine: moto as its regions, the project's own templates deployed into it, changes, and who tells of them."""
