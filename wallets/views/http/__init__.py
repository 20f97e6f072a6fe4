"""How a request is read and an answer is written, whichever transport carries them."""
