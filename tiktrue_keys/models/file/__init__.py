"""Operations on one model file: encrypt, decrypt, rewrap, reencrypt, verify, inspect, sign."""
