"""AWS on this machine: moto as its regions, the project's own templates deployed into it, a trail, and a writer of changes."""
