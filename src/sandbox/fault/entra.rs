//! What the token endpoint of Microsoft Entra ID denies, and in which words (RFC 6749 §5.2, RFC 8628 §3.5).

/// A request for a token that is not granted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Denial {
    /// The HTTP status.
    pub(in crate::sandbox) status: u16,
    /// The error as RFC 6749 and RFC 8628 name it.
    pub(in crate::sandbox) error: &'static str,
    /// The number behind `AADSTS`; 0: none.
    pub(in crate::sandbox) number: u32,
    /// The sentence; `{client_id}` and `{tenant}` stand for what was asked for.
    pub(in crate::sandbox) text: &'static str,
}

const fn denial(status: u16, error: &'static str, number: u32, text: &'static str) -> Denial {
    Denial { status, error, number, text }
}

pub(in crate::sandbox) const WRONG_SECRET: Denial = denial(
    401,
    "invalid_client",
    7_000_215,
    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the \
     client secret ID, for a secret added to app '{client_id}'.",
);
pub(in crate::sandbox) const NO_PROOF: Denial = denial(
    401,
    "invalid_client",
    7_000_218,
    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
);
pub(in crate::sandbox) const SECRET_EXPIRED: Denial = denial(
    401,
    "invalid_client",
    7_000_222,
    "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for \
     your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: \
     https://aka.ms/certCreds.",
);
pub(in crate::sandbox) const BAD_JWT: Denial =
    denial(401, "invalid_client", 50_027, "JWT token is invalid or malformed.");
pub(in crate::sandbox) const WRONG_AUDIENCE: Denial =
    denial(401, "invalid_client", 700_023, "Client assertion audience claim does not match Realm issuer.");
pub(in crate::sandbox) const WRONG_TIME: Denial =
    denial(401, "invalid_client", 700_024, "Client assertion is not within its valid time range.");
pub(in crate::sandbox) const UNKNOWN_CERTIFICATE: Denial = denial(
    401,
    "invalid_client",
    700_027,
    "The certificate with identifier used to sign the client assertion is not registered on application.",
);
pub(in crate::sandbox) const APP_UNKNOWN: Denial = denial(
    400,
    "unauthorized_client",
    700_016,
    "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the \
     application has not been installed by the administrator of the tenant or consented to by any user in the tenant. \
     You may have sent your authentication request to the wrong tenant.",
);
pub(in crate::sandbox) const TENANT_UNKNOWN: Denial = denial(
    400,
    "invalid_request",
    90_002,
    "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct \
     cloud.",
);
pub(in crate::sandbox) const GRANT_UNKNOWN: Denial =
    denial(400, "invalid_grant", 70_000, "Provided grant is invalid or malformed.");
pub(in crate::sandbox) const GRANT_EXPIRED: Denial = denial(
    400,
    "invalid_grant",
    700_082,
    "The refresh token has expired due to inactivity. The token was issued on 2026-01-01T00:00:00.0000000Z and was \
     inactive for 90.00:00:00.",
);
pub(in crate::sandbox) const GRANT_REVOKED: Denial = denial(
    400,
    "invalid_grant",
    50_173,
    "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed \
     or reset their password.",
);
pub(in crate::sandbox) const MFA: Denial = denial(
    400,
    "invalid_grant",
    50_076,
    "Due to a configuration change made by your administrator, or because you moved to a new location, you must use \
     multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'.",
);
pub(in crate::sandbox) const CONDITIONAL_ACCESS: Denial = denial(
    400,
    "invalid_grant",
    53_003,
    "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
);
pub(in crate::sandbox) const NO_CONSENT: Denial = denial(
    400,
    "invalid_grant",
    65_001,
    "The user or administrator has not consented to use the application with ID '{client_id}'. Send an interactive \
     authorization request for this user and resource.",
);
pub(in crate::sandbox) const WRONG_SCOPE: Denial = denial(
    400,
    "invalid_scope",
    70_011,
    "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' \
     is not valid.",
);
pub(in crate::sandbox) const WRONG_GRANT: Denial = denial(
    400,
    "unsupported_grant_type",
    70_003,
    "The app requested an unsupported grant type: it must be client_credentials, refresh_token or \
     urn:ietf:params:oauth:grant-type:device_code.",
);
pub(in crate::sandbox) const THROTTLED: Denial = denial(
    429,
    "temporarily_unavailable",
    90_055,
    "There are too many incoming requests to this tenant. Try again later.",
);
pub(in crate::sandbox) const UNAVAILABLE: Denial =
    denial(503, "temporarily_unavailable", 90_033, "A transient error has occurred. Please try again.");
pub(in crate::sandbox) const PENDING: Denial = denial(
    400,
    "authorization_pending",
    70_016,
    "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
);
pub(in crate::sandbox) const SLOW_DOWN: Denial =
    denial(400, "slow_down", 0, "The polls come faster than the interval allows: wait five seconds more between them.");
pub(in crate::sandbox) const DECLINED: Denial =
    denial(400, "authorization_declined", 0, "The end user denied the authorization request.");
pub(in crate::sandbox) const CODE_EXPIRED: Denial =
    denial(400, "expired_token", 70_019, "Verification code expired. Have the user retry the sign-in.");
pub(in crate::sandbox) const CODE_UNKNOWN: Denial = denial(
    400,
    "bad_verification_code",
    70_018,
    "Invalid verification code due to User typing in wrong user code for device code flow. Authorization is not \
     approved.",
);
