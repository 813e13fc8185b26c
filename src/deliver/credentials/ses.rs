//! The SMTP password of Amazon SES, derived from the secret access key of an IAM user (docs.aws.amazon.com/ses, *Obtaining
//! Amazon SES SMTP credentials*).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// The SMTP password that goes with the key in this region.
pub(super) fn smtp_password(secret_access_key: &SecretString, region: &str) -> SecretString {
    let mut signature = format!("AWS4{}", secret_access_key.expose_secret()).into_bytes();
    for message in [DATE, region, "ses", "aws4_request", "SendRawEmail"] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &signature);
        signature = hmac::sign(&key, message.as_bytes()).as_ref().to_vec();
    }
    signature.insert(0, VERSION);
    STANDARD.encode(signature).into()
}

/// The date of the algorithm, whatever the day.
const DATE: &str = "11111111";
const VERSION: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_that_of_the_published_algorithm() {
        // The secret of Amazon's own examples.
        let key = SecretString::from("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        for (region, wanted) in [
            ("us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"),
            ("us-west-2", "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"),
            ("eu-west-1", "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"),
            ("eu-central-1", "BF0/eIJm0ruTHsSjOkRuOGzGF+zeSyE3aiRzrzUQ8LwG"),
        ] {
            assert_eq!(smtp_password(&key, region).expose_secret(), wanted, "{region}");
        }
    }
}
