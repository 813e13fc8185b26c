"""Hands mail to the relay on 127.0.0.1:25. `send FROM TO`: those numbers, on a few connections. `steadily FROM FILE`: one after
another, each on a connection of its own, until the file is there; ten a second, so that a slow machine has not sent by then what
the provider takes in a day. Prints how many were acknowledged; whatever is refused ends it
with a failure."""

import os
import smtplib
import sys
import time
from email.message import EmailMessage


def mail(number):
    message = EmailMessage()
    message["From"] = "webmaster@example.com"
    message["To"] = "you@example.com"
    message["Subject"] = f"number {number}"
    message.set_content("Somebody has filled in the form.\n" * 20)
    return message


def connected():
    return smtplib.SMTP("127.0.0.1", 25, local_hostname="form", timeout=60)


def send(first, last):
    for start in range(first, last + 1, 100):
        with connected() as session:
            for number in range(start, min(start + 100, last + 1)):
                session.send_message(mail(number))
    return last + 1 - first


def steadily(first, file):
    count = 0
    while not os.path.exists(file):
        session = connected()
        session.send_message(mail(first + count))
        count += 1
        try:
            session.quit()
        except smtplib.SMTPException:
            # The message is acknowledged; a daemon that stops has said 421 to the farewell, or hung up.
            session.close()
        time.sleep(0.1)
    return count


how, first, other = sys.argv[1:]
print(send(int(first), int(other)) if how == "send" else steadily(int(first), other))
