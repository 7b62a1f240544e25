"""Passwords of the older systems' users, with the bcrypt hashes that those systems stored."""

PLAIN = "correct horse battery staple"
LONG = "a long passphrase: " + "0123456789" * 8
"""99 bytes; bcrypt read the first 72."""
UNICODE = "пароль-ключ"
ADMIN = "admin-secret-1"

HASHES = {
    PLAIN: "$2b$04$drfcNMl36JhY83aNi1j1hOUfXuNQnten6S7ZdrLgTf4gU3wLBVzvy",
    LONG: "$2b$04$PKvrhUMA74XxHxOKy/5AVu6KAfa9/qJrIHMQxsNNfcBfsH8j/p92O",
    UNICODE: "$2a$04$4okR/ll496AamjqBddBigOWalK5cavVb0uSWEREeljr649zp28jmS",
    ADMIN: "$2y$04$YCdb7YlSGV4qncRSWFTtaeQajx6oUn3uLknZsjrQaiX/TNs9ES3WG",
}

KNOWN_USERS = {"user1": ADMIN, "user2": PLAIN, "user3": LONG, "user4": UNICODE}
"""Their password by username; all further users have one of these, too."""
