//! The port's parameters over the SDK (Systems Manager).

use aws_sdk_ssm::types::{Parameter as SdkParameter, ParameterTier, ParameterType};

use super::Aws;
use super::call::pages;
use crate::cloud::{Parameters, Write, Written};
use crate::model::cloud_error::CloudError;
use crate::model::records::Parameter;

fn parameter(parameter: SdkParameter) -> Option<Parameter> {
    Some(Parameter { name: parameter.name?, value: parameter.value?, version: parameter.version })
}

impl Parameters for Aws {
    async fn parameters(&self, names: &[String]) -> Result<Vec<Parameter>, CloudError> {
        let call = self.clients.ssm.get_parameters().set_names(Some(names.to_vec()));
        let answer = self.call("GetParameters", &names.join(", "), || call.clone().send()).await?;
        Ok(answer.parameters.unwrap_or_default().into_iter().filter_map(parameter).collect())
    }

    async fn parameters_under(&self, path: &str) -> Result<Vec<Parameter>, CloudError> {
        // 10 is the largest page.
        let page = self.clients.ssm.get_parameters_by_path().path(path).recursive(true).max_results(10);
        let found = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetParametersByPath", path, || page.clone().send()).await?;
                Ok((answer.parameters.unwrap_or_default(), answer.next_token))
            }
        });
        Ok(found.await?.into_iter().filter_map(parameter).collect())
    }

    async fn history(&self, name: &str) -> Result<Vec<Parameter>, CloudError> {
        let page = self.clients.ssm.get_parameter_history().name(name);
        let versions = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetParameterHistory", name, || page.clone().send()).await?;
                Ok((answer.parameters.unwrap_or_default(), answer.next_token))
            }
        });
        let versions = match versions.await {
            Err(error) if error.code == "ParameterNotFound" => vec![],
            other => other?,
        };
        let whole = versions
            .into_iter()
            .filter_map(|one| Some(Parameter { name: one.name?, value: one.value?, version: one.version }));
        Ok(whole.collect())
    }

    async fn put_parameter(&self, name: &str, value: &str, write: Write) -> Result<Written, CloudError> {
        let call = self
            .clients
            .ssm
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::String)
            .tier(ParameterTier::IntelligentTiering)
            .overwrite(write == Write::Overwrite);
        // Parameter Store accepts about three writes per second, so many runs can queue here. Each keeps time to send
        // its notification afterwards.
        match self.leaving_time().call("PutParameter", name, || call.clone().send()).await {
            Ok(answer) => Ok(Written::Version(answer.version())),
            Err(error) if write == Write::Create && error.code == "ParameterAlreadyExists" => {
                Ok(Written::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_parameter(&self, name: &str) -> Result<(), CloudError> {
        let call = self.clients.ssm.delete_parameter().name(name);
        match self.call("DeleteParameter", name, || call.clone().send()).await {
            Err(error) if error.code != "ParameterNotFound" => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
