"""What a command asks for instead of reading the environment: settings, keystore, license, answers."""
