"""What the keystore knows of containers: intents around file operations, rows that follow a container."""
