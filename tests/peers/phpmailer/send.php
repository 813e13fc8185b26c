<?php
// Sends with PHPMailer as contact forms do: send.php HOST PORT [USER PASSWORD [CA]]
use PHPMailer\PHPMailer\PHPMailer;

require 'libphp-phpmailer/autoload.php';

[, $host, $port, $user, $password, $ca] = array_pad($argv, 6, null);
$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->Host = $ca === null ? $host : 'localhost';
$mail->Port = (int) $port;
$mail->Hostname = 'www.site.example';
$mail->SMTPAutoTLS = false;
$mail->SMTPKeepAlive = true;
$mail->CharSet = PHPMailer::CHARSET_UTF8;
if ($user !== null) {
    $mail->SMTPAuth = true;
    $mail->Username = $user;
    $mail->Password = $password;
}
if ($ca !== null) {
    $mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
    $mail->SMTPOptions = ['ssl' => ['cafile' => $ca]];
}
$mail->setFrom('shop@site.example', 'Jürgen Müller');
$mail->addAddress('a@example.org');
$mail->addAddress('b@example.org');
$mail->addBCC('hidden@example.org');
$mail->Subject = 'Grüße aus Zürich';
$mail->Body = "Schöne Grüße\n.\n..\nEnde\n";
$octets = '';
for ($at = 0; $at < 300000; $at++) {
    $octets .= chr((($at * 7919) >> 5) & 255);
}
$mail->addStringAttachment($octets, 'zähler.bin');
$mail->send();

$mail->clearAllRecipients();
$mail->clearAttachments();
$mail->addAddress('a@example.org');
$mail->Subject = 'second';
$mail->Body = 'x';
$mail->send();
$mail->smtpClose();
