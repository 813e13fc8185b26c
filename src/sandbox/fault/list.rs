//! Every fault: its name, what happens, and how. A refusal has the text that the provider is known for; those of Mailjet
//! about limits and blocks are guesses in the words of Postfix, since nobody has published them.

use super::Step::{
    Auth, Bearer, Connect, Content, Data, Dot, Ehlo, Greeting, Mail, Password, Poll, Rcpt, Refresh, SecureEhlo,
    StartTls, Tls, Token,
};
use super::{Effect, Topic, entra};
use crate::sandbox::replies::{google, mailjet, microsoft365, ses};

macro_rules! faults {
    ($($topic:ident { $($variant:ident, $name:literal, $about:literal, $effect:expr;)* })*) => {
        /// What goes wrong. Each has a stable name ([`Fault::name`]) that commands and scripts use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = $about] $variant,)*)*
        }

        impl Fault {
            /// Every fault, in the order in which a help page lists them: topic by topic.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// The name, in kebab case.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name,)*)* }
            }

            /// What it is, in one line.
            pub const fn about(self) -> &'static str {
                match self { $($(Self::$variant => $about,)*)* }
            }

            /// What it is about.
            pub const fn topic(self) -> Topic {
                match self { $($(Self::$variant => Topic::$topic,)*)* }
            }

            pub(in crate::sandbox) const fn effect(self) -> Effect {
                use Effect::{Cut, Deny, Refuse, Special};
                match self { $($(Self::$variant => $effect,)*)* }
            }
        }
    };
}

faults! {
    Login {
        AuthIncorrect, "auth-incorrect", "the password is wrong (535 5.7.139 at AUTH)",
            Refuse(Password, microsoft365::BAD_CREDENTIALS);
        AuthUnsuccessful, "auth-unsuccessful", "a password is refused without a reason (535 5.7.3 at AUTH)",
            Refuse(Password, "535 5.7.3 Authentication unsuccessful");
        AuthDisabledTenant, "auth-disabled-tenant", "SMTP AUTH is off in the tenant (535 5.7.139 at AUTH)",
            Refuse(Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
                Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.");
        AuthDisabledMailbox, "auth-disabled-mailbox", "SMTP AUTH is off for the mailbox (535 5.7.139 at AUTH)",
            Refuse(Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
                Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.");
        BasicAuthDisabled, "basic-auth-disabled", "passwords are switched off, tokens are not (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.");
        BasicAuthRetired, "basic-auth-retired", "passwords are gone for good, tokens are not (550 5.7.30 at AUTH)",
            Refuse(Password, "550 5.7.30 Basic authentication is not supported for Client Submission.");
        AuthLocked, "auth-locked", "security defaults block passwords (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, user is locked by your organization's \
                security defaults policy. Contact your administrator.");
        AuthCriteria, "auth-criteria", "a policy blocks passwords (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be \
                authenticated successfully. Contact your administrator.");
        AccountLocked, "account-locked", "the account is locked (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, account locked.");
        StsUnreachable, "sts-unreachable", "the federation gateway is down (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, federated STS service was unreachable.");
        StsNoHttps, "sts-no-https", "the federation gateway has no HTTPS (535 5.7.139 at AUTH)",
            Refuse(Password, "535 5.7.139 Authentication unsuccessful, the federated STS URL does not support HTTPS.");
        BearerRefused, "bearer-refused", "the mailbox takes no token of this application (535 5.7.3 at AUTH XOAUTH2)",
            Refuse(Bearer, microsoft365::BAD_TOKEN);
        BearerUser, "bearer-user", "the user beside the token is not a mailbox (501 5.5.124 at AUTH XOAUTH2)",
            Refuse(Bearer, "501 5.5.124 Invalid XOAUTH2 auth data - User address provided is not valid.");
        MechanismUnknown, "mechanism-unknown", "no kind of login is known (504 5.7.4 at AUTH)",
            Refuse(Auth, microsoft365::UNKNOWN_MECHANISM);
        AuthTempfail, "auth-tempfail", "logins fail for a while (454 4.7.0 at AUTH)",
            Refuse(Auth, "454 4.7.0 Temporary authentication failure");
        StarttlsFirst, "starttls-first", "the server does not see our TLS (530 5.7.0 at AUTH)",
            Refuse(Auth, microsoft365::STARTTLS_FIRST);
        NotAuthenticated, "not-authenticated", "the login is forgotten (530 5.7.57 at MAIL)",
            Refuse(Mail, microsoft365::NOT_AUTHENTICATED);
        NotAuthenticatedOld, "not-authenticated-old", "the login is forgotten, older words (530 5.7.57 at MAIL)",
            Refuse(Mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM");
        TlsTooOld, "tls-too-old", "the server wants TLS 1.2 (421 4.7.66 after TLS)",
            Refuse(SecureEhlo, "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client to \
                support TLS 1.2. Visit https://aka.ms/smtp_auth_tls.");
        TlsNotAllowed, "tls-not-allowed", "the tenant wants TLS 1.2 (421 4.7.67 after TLS)",
            Refuse(SecureEhlo, "421 4.7.67 TLS 1.0 and 1.1 are not supported by your organization. Please \
                upgrade/update your client to support TLS 1.2. Visit https://aka.ms/smtp_auth_tls.");
        SendAs, "send-as", "no permission for this sender (550 5.7.60 at end of data)",
            Refuse(Dot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender");
        SendAsDenied, "send-as-denied", "no permission for this sender, today's words (554 5.2.252 at end of data)",
            Refuse(Dot, microsoft365::SEND_AS_DENIED);
        SendAsDeniedOld, "send-as-denied-old",
            "no permission for this sender, older words (554 5.2.0 at end of data)",
            Refuse(Dot, "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; \
                Failed to process message due to a permanent exception with message Cannot submit message.");
        ConnectorDenied, "connector-denied", "our address or certificate fits no connector (550 5.7.64 at RCPT)",
            Refuse(Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied");
        WrongRegion, "wrong-region", "the connector is in another region (451 4.4.62 at RCPT)",
            Refuse(Rcpt, "451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35");
        DirectSend, "direct-send", "the tenant takes no Direct Send (550 5.7.68 at RCPT)",
            Refuse(Rcpt, "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from \
                unauthorized sources");
        BadHelo, "bad-helo", "our EHLO claims to be theirs (550 5.7.506 at MAIL)",
            Refuse(Mail, "550 5.7.506 Access Denied, Bad HELO");
    }
    Quota {
        Quota, "quota", "the day's recipients are used up (554 5.2.0 at end of data)",
            Refuse(Dot, microsoft365::QUOTA);
        QuotaOnPremises, "quota-on-premises",
            "the day's recipients are used up, words of a server of one's own (550 5.2.2 at end of data)",
            Refuse(Dot, "550 5.2.2 Submission quota exceeded");
        DailyLimit, "daily-limit", "the day's recipients are used up, other words (550 5.1.90 at end of data)",
            Refuse(Dot, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message \
                recipients");
        MailboxFull, "mailbox-full", "the sending mailbox is full (554 5.2.2 at end of data)",
            Refuse(Dot, "554 5.2.2 mailbox full; \
                STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded");
        MailboxFullOld, "mailbox-full-old", "the sending mailbox is full, other words (554 5.2.2 at end of data)",
            Refuse(Dot, "554 5.2.2 mailbox full; \
                STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionQuotaExceeded");
        BadOutboundSender, "bad-outbound-sender", "the sender is restricted for spam (550 5.1.8 at end of data)",
            Refuse(Dot, "550 5.1.8 Access denied, bad outbound sender AS(42004)");
        TenantLimit, "tenant-limit", "the tenant's external recipients are used up (550 5.7.233 at end of data)",
            Refuse(Dot, "550 5.7.233 - Your message can't be sent because your tenant exceeded its daily limit for \
                sending email to external recipients (tenant external recipient rate limit)");
        TrialLimit, "trial-limit", "the trial tenant's day is used up (550 5.7.232 at end of data)",
            Refuse(Dot, "550 5.7.232 - Your message can't be sent because your trial tenant has exceeded its daily \
                limit for sending email to external recipients (tenant external recipient rate limit)");
        Banned501, "banned-501", "spam was seen (550 5.7.501 at end of data)",
            Refuse(Dot, "550 5.7.501 Access denied, spam abuse detected");
        Banned502, "banned-502", "the sender is banned (550 5.7.502 at end of data)",
            Refuse(Dot, "550 5.7.502 Access denied, banned sender");
        Banned503, "banned-503", "the sender is banned, other number (550 5.7.503 at end of data)",
            Refuse(Dot, "550 5.7.503 Access denied, banned sender");
        TenantThreshold, "tenant-threshold", "the tenant is over its threshold (550 5.7.705 at end of data)",
            Refuse(Dot, "550 5.7.705 Access denied, tenant has exceeded threshold");
        IpRefused, "ip-refused", "the address is not liked (550 5.7.708 at end of data)",
            Refuse(Dot, "550 5.7.708 Access denied, traffic not accepted from this IP");
        UnregisteredDomain, "unregistered-domain",
            "the sender's domain is not the tenant's (550 5.7.750 at end of data)",
            Refuse(Dot, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains");
        Rate, "rate", "too many messages (421 4.4.2 at end of data, then closed)",
            Refuse(Dot, microsoft365::RATE);
        Concurrency, "concurrency", "too many at a time (432 4.3.2 at DATA)",
            Refuse(Data, microsoft365::CONCURRENCY);
        ConcurrencyOld, "concurrency-old", "too many at a time, older words (432 4.3.2 at DATA)",
            Refuse(Data, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded");
        TooManyConnections, "too-many-connections",
            "the banner says that there are too many connections (421 4.3.2), then closed",
            Refuse(Greeting, microsoft365::TOO_MANY_CONNECTIONS);
        ServerBusy, "server-busy", "the address is slowed down (451 4.7.500 at MAIL)",
            Refuse(Mail, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS843)");
        Greylisted, "greylisted", "the address is slowed down, other number (451 4.7.651 at MAIL)",
            Refuse(Mail, "451 4.7.651 Access denied, please try again later");
        SuspiciousIp, "suspicious-ip", "the address is suspicious for a while (451 4.7.850 at MAIL)",
            Refuse(Mail, "451 4.7.850 Access denied, please try again later");
    }
    Passing {
        Tempfail, "tempfail", "a passing fault (451 4.7.0 at MAIL)",
            Refuse(Mail, PRX2);
        TempfailDot, "tempfail-dot", "a passing fault (451 4.7.0 at end of data)",
            Refuse(Dot, PRX2);
        Attribution, "attribution", "a passing fault (451 4.3.2 at MAIL)",
            Refuse(Mail, "451 4.3.2 Temporary server error. Please try again later ATTR17");
        NotReplicated, "not-replicated", "the message could not be replicated (451 4.4.0 at end of data)",
            Refuse(Dot, "451 4.4.0 Message failed to be replicated: insufficient system resources");
        NoResources, "no-resources", "the server has no resources (452 4.3.1 at MAIL)",
            Refuse(Mail, microsoft365::NO_RESOURCES);
        OrganizationQueue, "organization-queue", "the organisation's queue is full (450 4.7.3 at MAIL)",
            Refuse(Mail, "450 4.7.3 Organization queue quota exceeded.");
        RecipientThreads, "recipient-threads", "the recipient's mailbox is busy (432 4.3.2 at end of data)",
            Refuse(Dot, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded");
        RecipientRate, "recipient-rate", "the recipient hears too much from this sender (550 5.2.121 at RCPT)",
            Refuse(Rcpt, "550 5.2.121 Recipient's per hour message receive limit from specific sender exceeded.");
        RecipientFlood, "recipient-flood", "the recipient hears too much (554 5.2.122 at RCPT)",
            Refuse(Rcpt, "554 5.2.122 Recipient's per hour message receive limit exceeded.");
        TooManyRecipients, "too-many-recipients", "every recipient is one too many (452 4.5.3 at RCPT)",
            Refuse(Rcpt, microsoft365::TOO_MANY_RECIPIENTS);
        ServiceUnavailable, "service-unavailable", "the banner is a refusal (421 4.3.2), then closed",
            Refuse(Greeting, "421 4.3.2 Service not available");
        TooManyErrors, "too-many-errors", "the server has had enough of the session (421 4.7.0 at MAIL, then closed)",
            Refuse(Mail, microsoft365::TOO_MANY_ERRORS);
        SessionTimeout, "session-timeout", "the session was too long (421 4.4.1 at MAIL, then closed)",
            Refuse(Mail, "421 4.4.1 Connection timed out. Total session duration: 00:20:00.0310000");
        ClientTimeout, "client-timeout", "the server says that we were silent (451 4.7.0 at MAIL)",
            Refuse(Mail, microsoft365::IDLE);
        Dropped, "dropped", "the server drops the connection (421 4.4.2 at MAIL, then closed)",
            Refuse(Mail, "421 4.4.2 Connection dropped due to SocketError");
    }
    Message {
        TooBig, "too-big", "the message is too large (552 5.3.4 at MAIL)",
            Refuse(Mail, microsoft365::TOO_BIG);
        TooBigDot, "too-big-dot", "the message is too large (552 5.3.4 at end of data)",
            Refuse(Dot, microsoft365::TOO_BIG);
        HeaderTooBig, "header-too-big", "the header is too large (552 5.3.4 at end of data)",
            Refuse(Dot, "552 5.3.4 Header size exceeds fixed maximum size");
        SendSizeLimit, "send-size-limit", "the mailbox may not send so much (550 5.2.3 at end of data)",
            Refuse(Dot, "550 5.2.3 RESOLVER.RST.SendSizeLimit; message too large for this sender");
        RecipSizeLimit, "recip-size-limit", "the recipient may not get so much (550 5.2.3 at end of data)",
            Refuse(Dot, "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient");
        BadSenderAddress, "bad-sender-address", "the sender's address is badly written (501 5.1.7 at MAIL)",
            Refuse(Mail, microsoft365::BAD_SENDER);
        BadRecipientAddress, "bad-recipient-address", "the recipient's address is badly written (501 5.1.3 at RCPT)",
            Refuse(Rcpt, microsoft365::BAD_RECIPIENT);
        NoSuchUser, "no-such-user", "every recipient is unknown, usual words (550 5.1.1 at RCPT)",
            Refuse(Rcpt, "550 5.1.1 User unknown");
        RecipientDenied, "recipient-denied", "every recipient is denied (550 5.4.1 at RCPT)",
            Refuse(Rcpt, "550 5.4.1 Recipient address rejected: Access denied");
        RecipientsBlocked, "recipients-blocked", "the tenant blocks a recipient (550 5.7.703 at end of data)",
            Refuse(Dot, "550 5.7.703 Your message can't be delivered because messages to one or more recipients are \
                blocked by your organization's tenant recipient block policy");
        InvalidContent, "invalid-content", "the content is bad (554 5.6.0 at end of data)",
            Refuse(Dot, "554 5.6.0 Invalid message content");
        BareLinefeeds, "bare-linefeeds", "the content has bare line feeds (554 5.6.0 at end of data)",
            Refuse(Dot, microsoft365::BARE_LINEFEED);
        InvalidCharacters, "invalid-characters", "the content has bad characters (554 5.6.11 at end of data)",
            Refuse(Dot, "554 5.6.11 Invalid characters");
        NotCompliant, "not-compliant", "From is not as RFC 5322 has it (550 5.7.512 at end of data)",
            Refuse(Dot, microsoft365::NO_FROM);
        ManyFrom, "many-from", "From has several addresses (550 5.1.20 at end of data)",
            Refuse(Dot, "550 5.1.20 Multiple From addresses are not allowed without a Sender address");
        HopCount, "hop-count", "the message has gone round (554 5.4.6 at end of data)",
            Refuse(Dot, "554 5.4.6 Hop count exceeded - possible mail loop");
        RoutingLoop, "routing-loop", "the message has gone round, other number (554 5.4.14 at end of data)",
            Refuse(Dot, "554 5.4.14 Hop count exceeded - possible mail loop ATTR34");
        Policy, "policy", "a rule of the tenant refuses it (550 5.7.1 at end of data)",
            Refuse(Dot, "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy");
        GroupRestricted, "group-restricted", "a group takes no mail from this sender (550 5.7.124 at end of data)",
            Refuse(Dot, "550 5.7.124 RESOLVER.RST.NotAuthorized; sender not in allowed-senders list");
        Dmarc, "dmarc", "the sender's domain does not stand for it (550 5.7.509 at end of data)",
            Refuse(Dot, "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification");
    }
    Ses {
        SesCredentials, "ses-credentials", "user name or SMTP password are wrong (535 at AUTH)",
            Refuse(Auth, ses::CREDENTIALS);
        SesNotSubscribed, "ses-not-subscribed", "the account has no SES (535 at AUTH)",
            Refuse(Auth, "535 Account not subscribed to SES");
        SesAuthTempfail, "ses-auth-tempfail", "logins fail for a while (454 at AUTH)",
            Refuse(Auth, "454 Temporary authentication failure");
        SesAuthRequired, "ses-auth-required", "the login is forgotten (530 at MAIL)",
            Refuse(Mail, ses::NOT_AUTHENTICATED);
        SesConnections, "ses-connections", "the banner says that there are too many connections (421), then closed",
            Refuse(Greeting, ses::CONNECTIONS);
        SesThrottled, "ses-throttled", "too many recipients in a second (454 at end of data)",
            Refuse(Dot, ses::RATE);
        SesSigv2, "ses-sigv2", "an old password is throttled (454 at end of data)",
            Refuse(Dot, "454 Throttling failure: Maximum SigV2 SMTP sending rate exceeded");
        SesDailyQuota, "ses-daily-quota", "the day's recipients are used up (454 at end of data)",
            Refuse(Dot, ses::QUOTA);
        SesTempfail, "ses-tempfail", "a passing fault (451 at MAIL)",
            Refuse(Mail, "451 Temporary service failure");
        SesTempfailDot, "ses-tempfail-dot", "a passing fault (454 at end of data)",
            Refuse(Dot, "454 Temporary service failure");
        SesTimeout, "ses-timeout", "the server says that we were silent (451 at end of data)",
            Refuse(Dot, ses::IDLE);
        SesAccessDenied, "ses-access-denied", "the IAM user may not send (554 at end of data)",
            Refuse(Dot, "554 Access denied: User `arn:aws:iam::123456789012:user/relay' is not authorized to perform \
                `ses:SendRawEmail' on resource `arn:aws:ses:us-east-1:123456789012:identity/example.com'");
        SesNotVerifiedSender, "ses-not-verified-sender",
            "the sender is not verified in the region (554 at end of data)",
            Refuse(Dot, ses::NOT_VERIFIED);
        SesNotVerifiedRecipient, "ses-not-verified-recipient",
            "the account is in SES's own sandbox, and the recipient is not verified (554 at end of data)",
            Refuse(Dot, "554 Message rejected: Email address is not verified. The following identities failed the \
                check in region US-EAST-1: {recipient}");
        SesMailFrom, "ses-mail-from", "the custom MAIL FROM domain is not verified (554 at end of data)",
            Refuse(Dot, "554 MAIL FROM domain not verified: bounce.example.com");
        SesPaused, "ses-paused", "Amazon has paused the account (554 at end of data)",
            Refuse(Dot, "554 Sending paused for this account. For more information, please check the inbox of the \
                email address associated with your AWS account.");
        SesConfigurationSet, "ses-configuration-set", "the configuration set does not exist (554 at end of data)",
            Refuse(Dot, "554 Configuration set does not exist: example");
        SesTooLong, "ses-too-long", "the message is too large (552 at end of data)",
            Refuse(Dot, ses::TOO_LONG);
        SesInvalidAddress, "ses-invalid-address", "every recipient is badly written (553 at RCPT)",
            Refuse(Rcpt, ses::INVALID_ADDRESS);
        SesUnknownAddress, "ses-unknown-address", "every recipient is unknown (553 at RCPT)",
            Refuse(Rcpt, "553 <{recipient}> address unknown");
        SesDuplicateHeader, "ses-duplicate-header", "a field is there twice (554 at end of data)",
            Refuse(Dot, "554 Transaction failed: Duplicate header 'Message-ID'.");
    }
    Mailjet {
        MailjetCredentials, "mailjet-credentials", "API key or secret key are wrong (535 5.7.8 at AUTH)",
            Refuse(Auth, mailjet::CREDENTIALS);
        MailjetSender, "mailjet-sender", "the sender is not validated (550 5.1.8 at end of data)",
            Refuse(Dot, mailjet::SENDER_REFUSED);
        MailjetBlocked, "mailjet-blocked", "Mailjet has blocked the account (550 5.7.1 at end of data)",
            Refuse(Dot, "550 5.7.1 Error: the account is blocked");
        MailjetHourlyLimit, "mailjet-hourly-limit",
            "Mailjet has limited the account for a week (450 4.7.1 at end of data)",
            Refuse(Dot, "450 4.7.1 Error: the hourly sending limit of the account is reached");
        MailjetTooManyRecipients, "mailjet-too-many-recipients",
            "every recipient is one too many (452 4.5.3 at RCPT)",
            Refuse(Rcpt, mailjet::TOO_MANY_RECIPIENTS);
        MailjetTooBig, "mailjet-too-big", "the message is too large (552 5.3.4 at MAIL)",
            Refuse(Mail, mailjet::TOO_BIG);
    }
    Google {
        GoogleCredentials, "google-credentials", "user name or password are wrong (535 5.7.8 at AUTH)",
            Refuse(Auth, google::CREDENTIALS);
        GoogleAppPassword, "google-app-password", "an app password is wanted (534 5.7.9 at AUTH)",
            Refuse(Password, "534 5.7.9 Application-specific password required. Learn more at \
                https://support.google.com/mail/?p=InvalidSecondFactor {mark} - gsmtp");
        GoogleTooManyLogins, "google-too-many-logins", "too many logins (454 4.7.0 at AUTH)",
            Refuse(Auth, "454 4.7.0 Too many login attempts, please try again later. {mark} - gsmtp");
        GoogleDailyLimit, "google-daily-limit", "the user's day is used up (550 5.4.5 at end of data)",
            Refuse(Dot, google::DAILY_LIMIT);
        GoogleRelayUserLimit, "google-relay-user-limit",
            "the user's day at the relay is used up (550 5.4.5 at end of data)",
            Refuse(Dot, "550 5.4.5 Daily SMTP relay limit exceeded for user. {mark} - gsmtp");
        GoogleRelayCustomerLimit, "google-relay-customer-limit",
            "the customer's day at the relay is used up (550 5.7.1 at end of data)",
            Refuse(Dot, "550 5.7.1 Daily SMTP relay limit exceeded for customer. {mark} - gsmtp");
        GoogleRelayPeak, "google-relay-peak", "the relay's peak is reached (450 4.2.1 at end of data)",
            Refuse(Dot, "450 4.2.1 Peak SMTP relay limit exceeded for customer. {mark} - gsmtp");
        GoogleTryLater, "google-try-later", "the service wants less (421 4.7.0 at MAIL, then closed)",
            Refuse(Mail, "421 4.7.0 Try again later, closing connection. {mark} - gsmtp");
    }
    Tokens {
        TokenInvalidClient, "token-invalid-client", "the client secret is wrong (AADSTS7000215)",
            Deny(Token, &entra::WRONG_SECRET);
        TokenSecretExpired, "token-secret-expired", "the client secret has expired (AADSTS7000222)",
            Deny(Token, &entra::SECRET_EXPIRED);
        TokenAppUnknown, "token-app-unknown", "the application is not in the tenant (AADSTS700016)",
            Deny(Token, &entra::APP_UNKNOWN);
        TokenTenantUnknown, "token-tenant-unknown", "there is no such tenant (AADSTS90002)",
            Deny(Token, &entra::TENANT_UNKNOWN);
        TokenGrantExpired, "token-grant-expired", "the refresh token was idle for too long (AADSTS700082)",
            Deny(Refresh, &entra::GRANT_EXPIRED);
        TokenGrantRevoked, "token-grant-revoked", "the refresh token was revoked (AADSTS50173)",
            Deny(Refresh, &entra::GRANT_REVOKED);
        TokenMfa, "token-mfa", "a multi-factor login is wanted (AADSTS50076)",
            Deny(Refresh, &entra::MFA);
        TokenConditionalAccess, "token-conditional-access", "a policy gives no token (AADSTS53003)",
            Deny(Token, &entra::CONDITIONAL_ACCESS);
        TokenNoConsent, "token-no-consent", "nobody has consented to the application (AADSTS65001)",
            Deny(Token, &entra::NO_CONSENT);
        TokenThrottled, "token-throttled",
            "too many requests for tokens (429, Retry-After 30 s, or token-throttled=SECONDS)",
            Deny(Token, &entra::THROTTLED);
        TokenUnavailable, "token-unavailable", "the identity provider is down (503)",
            Deny(Token, &entra::UNAVAILABLE);
        TokenCut, "token-cut", "the identity provider closes without an answer",
            Cut(Token);
        TokenSlow, "token-slow", "the identity provider answers late (30 s, or token-slow=SECONDS)",
            Special(Token);
        DeviceDeclined, "device-declined", "the person declines",
            Deny(Poll, &entra::DECLINED);
        DeviceExpired, "device-expired", "the person was too slow (AADSTS70019)",
            Deny(Poll, &entra::CODE_EXPIRED);
        DeviceSlowDown, "device-slow-down", "the polls come too fast",
            Deny(Poll, &entra::SLOW_DOWN);
    }
    Anywhere {
        RejectRecipient, "reject-recipient", "every recipient is unknown (550 5.1.10 at RCPT)",
            Refuse(Rcpt, microsoft365::UNKNOWN_RECIPIENT);
        RejectSubject, "reject-subject", "a Subject with the word poison is refused (554 5.3.0 at end of data)",
            Refuse(Dot, UNLISTED);
        Unlisted, "unlisted", "a 5xx that nobody knows (554 5.3.0 at end of data)",
            Refuse(Dot, UNLISTED);
        UnlistedMail, "unlisted-mail", "a 5xx that nobody knows (554 5.3.0 at MAIL)",
            Refuse(Mail, UNLISTED);
        Down, "down", "connections are accepted and closed at once",
            Cut(Connect);
        NoBanner, "no-banner", "the server stays silent",
            Special(Greeting);
        CutAtGreeting, "cut-at-greeting", "closes in the middle of the banner",
            Special(Greeting);
        CutAtEhlo, "cut-at-ehlo", "closes at EHLO",
            Cut(Ehlo);
        CutAtStarttls, "cut-at-starttls", "closes at STARTTLS",
            Cut(StartTls);
        CutAtTls, "cut-at-tls", "closes in the TLS handshake",
            Special(Tls);
        CutAtAuth, "cut-at-auth", "closes at AUTH",
            Cut(Auth);
        CutAtMail, "cut-at-mail", "closes at MAIL",
            Cut(Mail);
        CutAtRcpt, "cut-at-rcpt", "closes at RCPT",
            Cut(Rcpt);
        CutAtData, "cut-at-data", "closes at DATA",
            Cut(Data);
        CutAtContent, "cut-at-content", "closes while the content comes",
            Special(Content);
        CutAtDot, "cut-at-dot", "stores the message, then closes without a reply",
            Special(Dot);
        CutBeforeDotStored, "cut-before-dot-stored", "closes at the end of data, and the message is lost",
            Cut(Dot);
        SlowDot, "slow-dot", "stores the message, and answers late (30 s, or slow-dot=SECONDS)",
            Special(Dot);
        Latin1Reply, "latin1-reply", "stores the message, and answers 250 with bytes that are not UTF-8",
            Special(Dot);
        BytesAfterStarttls, "bytes-after-starttls", "plain text follows the 220 to STARTTLS (injection)",
            Special(StartTls);
        NoStarttls, "no-starttls", "STARTTLS is not offered",
            Special(Ehlo);
        BadCertificate, "bad-certificate", "the certificate is from an authority nobody knows",
            Special(Tls);
    }
}

const PRX2: &str = "451 4.7.0 Temporary server error. Please try again later. PRX2";
const UNLISTED: &str = "554 5.3.0 The moon is in the wrong house for this message";
