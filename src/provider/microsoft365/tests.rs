//! Every reply that is known to have been given, with what it is about.

use std::time::Duration;

use super::super::refusal::tests::{are_read, rate, reply};
use crate::provider::Provider;
use crate::provider::refusal::{Class, Pace, ends_passwords, meaning};
use crate::schedule::attempt::Step::{Auth, Connect, Data, Ehlo, FinalReply, Greeting, Mail, Rcpt};

use Class::{
    Account, Connect as NoWayIn, Login, LoginLater, Message, NextTransaction, Quota, Recipient, Unlisted, Wait,
    WaitAtLeast,
};

const AT_A_TIME: Class = rate(Pace::Connections, None);
const A_MINUTE: Class = rate(Pace::Messages, None);
const FROM_HERE: Class = rate(Pace::Messages, Some(300));

#[test]
#[rustfmt::skip]
fn logins_and_ways_in() {
    are_read(Provider::Microsoft365, &[
        (Auth, "535 5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [SERVER.prod.outlook.com 2023-09-12T20:59:57.214Z 08DBB276B7E699C4]", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [SERVER.prod.outlook.com 2024-10-10T20:59:57.214Z 08DBB276B7E699C4]", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, account locked.", Login),
        (Auth, "535 5.7.139 Authentication unsuccessful, federated STS service was unreachable.", LoginLater),
        (Auth, "535 5.7.139 Authentication unsuccessful, the federated STS URL does not support HTTPS.", Login),
        (Auth, "550 5.7.30 Basic authentication is not supported for Client Submission.", Login),
        (Auth, "504 5.7.4 Unrecognized authentication type", Login),
        (Auth, "501 5.5.124 Invalid XOAUTH2 auth data - User address provided is not valid.", Login),
        (Auth, "454 4.7.0 Temporary authentication failure", LoginLater),
        (Mail, "421 4.7.0 Too many errors on this connection, closing transmission channel", NoWayIn),
        (Mail, "530 5.7.57 Client not authenticated to send mail. [SERVER.prod.outlook.com 2023-09-12T20:59:57.214Z 08DBB276B7E699C4]", Login),
        (Mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", Login),
        (Mail, "530 5.7.0 Must issue a STARTTLS command first", Account),
        (Ehlo, "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to support TLS 1.2. Visit https://aka.ms/smtp_auth_tls.", Account),
        (Mail, "550 5.7.67 TLS 1.0 and 1.1 are not supported by your organization", Account),
        (Mail, "550 5.7.64 TenantAttribution; Relay Access Denied", Account),
        (Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied", Account),
        (FinalReply, "451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35", Account),
        (FinalReply, "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources", Account),
        (Ehlo, "550 5.7.506 Access Denied, Bad HELO", Account),
        (FinalReply, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", Unlisted),
        (Mail, "554 5.7.60 SMTP; Client does not have permissions to send as this sender", Unlisted),
        (FinalReply, "554 5.2.252 SendAsDenied; relay@example.com not allowed to send as shop@example.com; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with message [BeginDiagnosticData]Cannot submit message. 0.35250:0A000280", Unlisted),
        (FinalReply, "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message", Unlisted),
    ]);
}

#[test]
#[rustfmt::skip]
fn rates_quotas_and_reputation() {
    are_read(Provider::Microsoft365, &[
        (Data, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. [Hostname=AM0PR01MB0001.eurprd01.prod.exchangelabs.com]", AT_A_TIME),
        (Data, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", AT_A_TIME),
        (Data, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", Wait),
        (FinalReply, "421 4.4.2 Message submission rate for this client has exceeded the configured limit", A_MINUTE),
        (FinalReply, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception with message The message can't be submitted because the sender's submission quota was exceeded.", Quota),
        (FinalReply, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients", Quota),
        (FinalReply, "550 5.2.2 Submission quota exceeded", Quota),
        (FinalReply, "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded", Account),
        (FinalReply, "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionQuotaExceeded", Account),
        (FinalReply, "550 5.7.233 - Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)", Quota),
        (FinalReply, "550 5.7.232 - Your message can't be sent because your trial tenant has exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)", Quota),
        (FinalReply, "550 5.1.8 Access denied, bad outbound sender AS(42004)", Account),
        (Rcpt, "550 5.1.8 Access denied, bad outbound sender", Account),
        (Mail, "550 5.7.501 Access denied, spam abuse detected", Account),
        (Mail, "550 5.7.502 Access denied, banned sender", Account),
        (FinalReply, "550 5.7.503 Access denied, banned sender", Account),
        (FinalReply, "550 5.7.705 Access denied, tenant has exceeded threshold", Account),
        (FinalReply, "550 5.7.708 Access denied, traffic not accepted from this IP", Account),
        (FinalReply, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", Account),
        (FinalReply, "550 5.7.703 Your message can't be delivered because one or more recipients are blocked by your organization's tenant recipient block policy", Message),
        (Rcpt, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712)", FROM_HERE),
        (Mail, "451 4.7.500 Access denied, please try again later", FROM_HERE),
        (Mail, "451 4.7.699 Access denied, please try again later", FROM_HERE),
        (Mail, "451 4.7.850 Access denied, please try again later", FROM_HERE),
        (Mail, "451 4.7.899 Access denied, please try again later", FROM_HERE),
        (Mail, "451 4.7.700 something else", Wait),
        (Mail, "451 4.7.0 Temporary server error. Please try again later. PRX2", Wait),
        (FinalReply, "451 4.3.2 Temporary server error. Please try again later ATTR17", Wait),
        (FinalReply, "451 4.4.0 Message failed to be replicated: No healthy secondary server available at this time", Wait),
        (FinalReply, "452 4.3.1 Insufficient system resources (TSTE)", Wait),
        (Greeting, "421 4.3.2 Service not available", NoWayIn),
        (Rcpt, "450 4.7.3 Organization queue quota exceeded.", Wait),
        (Connect, "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel", AT_A_TIME),
        (Greeting, "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel", AT_A_TIME),
        (Mail, "421 4.4.1 Connection timed out. Total session duration: 00:05:00.1380000", NoWayIn),
        (Mail, "451 4.7.0 Timeout waiting for client input", Wait),
        (Mail, "421 4.4.2 Connection dropped", NoWayIn),
        (Rcpt, "452 4.5.3 Too many recipients", NextTransaction),
        (Rcpt, "550 5.2.121 The recipient has exceeded the per hour message receive limit from specific sender", WaitAtLeast(Duration::from_secs(3600))),
        (FinalReply, "554 5.2.122 The recipient has exceeded their per hour message receive limit", WaitAtLeast(Duration::from_secs(3600))),
    ]);
}

#[test]
#[rustfmt::skip]
fn messages_and_recipients() {
    are_read(Provider::Microsoft365Connector, &[
        (Mail, "552 5.3.4 Message size exceeds fixed maximum message size", Message),
        (FinalReply, "552 5.3.4 Header size exceeds fixed maximum size", Message),
        (FinalReply, "550 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender", Message),
        (FinalReply, "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", Recipient),
        (Rcpt, "501 5.1.3 Invalid address", Recipient),
        (Mail, "501 5.1.7 Invalid address", Message),
        (Rcpt, "550 5.1.1 User unknown", Recipient),
        (Rcpt, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Recipient),
        (Rcpt, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [AM0PR01MB0001.eurprd01.prod.exchangelabs.com 2023-09-12T20:59:57.214Z 08DBB276B7E699C4]", Recipient),
        (FinalReply, "554 5.6.0 Invalid message content", Message),
        (FinalReply, "554 5.6.0 Invalid message content, contains bare linefeeds", Message),
        (FinalReply, "550 5.6.11 Invalid characters", Message),
        (FinalReply, "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant", Message),
        (FinalReply, "550 5.1.20 Multiple From addresses are not allowed without Sender address", Message),
        (FinalReply, "554 5.4.6 Hop count exceeded - possible mail loop", Message),
        (FinalReply, "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", Message),
        (Rcpt, "550 5.7.1 Delivery not authorized, message refused", Recipient),
        (FinalReply, "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy", Message),
        (FinalReply, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", Recipient),
        (FinalReply, "550 5.7.1 something of which nobody has heard", Unlisted),
        (Rcpt, "550 5.7.1 Unable to relay", Account),
        (FinalReply, "550 5.7.124 Sender not in allowed-senders list", Message),
        (FinalReply, "550 5.7.133 Sender not authenticated for group", Message),
        (FinalReply, "550 5.7.134 Sender not authenticated for mailbox", Message),
        (FinalReply, "550 5.7.136 Sender not authenticated for mail user", Message),
        (FinalReply, "550 5.7.12 Sender was not authenticated by organization", Message),
        (FinalReply, "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification and has a DMARC policy of reject.", Message),
    ]);
}

#[test]
fn what_says_that_passwords_are_off_is_known() {
    let ends = |text: &str| ends_passwords(Provider::Microsoft365, &reply(text));
    let disabled = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.";
    assert!(ends(disabled) && ends("550 5.7.30 Basic authentication is not supported for Client Submission."));
    for other in [
        "535 5.7.3 Authentication unsuccessful",
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
    ] {
        assert!(!ends(other), "{other}");
    }
    assert!(!ends_passwords(Provider::Ses, &reply(disabled)), "another provider's words are not Microsoft's");
}

#[test]
fn whoever_must_move_to_oauth_is_told() {
    for text in [
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
        "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
        "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully.",
    ] {
        let told = meaning(Provider::Microsoft365, Auth, &reply(text)).told();
        assert!(told.contains("README, \"Move to OAuth\""), "{told}");
    }
}
